"""Where flows written by version 0.1 look for the steps; kept for one version, to say this."""

raise ImportError(
    "sluicegate.stages is sluicegate.line now. This project's flows are those of version 0.1: "
    "run `sluice upgrade` in its folder."
)
