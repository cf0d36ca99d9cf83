"""What is personal or secret in a text: the one notion that redaction, metrics and reports share.

Phone numbers are Google's (`phonenumbers`), IBANs and check digits python-stdnum's, most secrets
detect-secrets' rules. Names and postal addresses are not recognised. Hostile text costs linear
time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import ip_address

Span = tuple[int, int]

REGIONS = (
    *("GB", "IE", "FR", "NL", "BE", "DE", "AT", "CH", "IT", "SE", "FI"),
    *("UA", "TR", "ZA", "IN", "CN", "JP", "AU", "NZ", "BR"),
)
"""Where a phone number without a country code may be from, if it begins with 0; and the US."""
_DASHES = "\\-\u2010-\u2015\u2212\uff0d"
_GAP = f"[ {_DASHES}\u00a0\u202f]"
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}"
    r"(?:[@\uff20]|\s?[(\[{]\s?at\s?[)\]}]\s?)"
    r"[^\W_][\w-]{0,62}(?:(?:[.\uff0e]|\s?[(\[{]\s?dot\s?[)\]}]\s?)[^\W_][\w-]{0,62}){1,8}",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@./\]])@[A-Za-z0-9_]{2,30}(?![\w@])")
_IBAN = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z]{{2}}\d{{2}}(?:{_GAP}?[A-Za-z0-9]){{11,40}}")
_DIGITS = re.compile(rf"(?<![\w.,+{_DASHES}])\d(?:{_GAP}?\d){{11,40}}(?!\w)(?![.,]\d)")
# Issuers' first digits and lengths: what merely passes Luhn (an IMEI, one EAN in ten) is no card.
_ISSUED = re.compile(
    r"4\d{12}|4\d{15}|4\d{18}|5[1-5]\d{14}"  # Visa, Mastercard
    r"|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|095|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"  # Amex, Diners, JCB
    r"|(?:2131|1800)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"  # JCB, Discover, UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"  # Maestro
)
_PHONE_LIKE = re.compile(
    rf"[+(0-9\uff0b\uff10-\uff19](?:[ ./(){_DASHES}\u00a0\u202f]{{0,3}}\d){{6}}"
)
_AMERICAN = re.compile(
    rf"(?:1[ .{_DASHES}])?\(?\d{{3}}\)?[ .{_DASHES}]\d{{3}}[ .{_DASHES}]\d{{4}}"
    r"(?:\s?(?:x|ext\.?)\s?\d{1,6})?"
)
_FICTION = re.compile(
    rf"(?<![\w.,+@#/{_DASHES}])(?:\+\d{{1,3}} )?555[ .{_DASHES}]01\d\d"
    rf"(?!\w)(?![.,:/{_DASHES}]\d)"
)
_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{4}(?!\d)|\d{4}-\d{2}-\d{2}(?!\d)")
_IP = re.compile(
    r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"
    r"|(?=[0-9a-f:]*\d)(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:]))",
    re.IGNORECASE,
)
_VERSION = re.compile(r"(?:version|release|firmware|build)\s{0,3}$", re.IGNORECASE)


def emails(text: str) -> Iterator[Span]:
    """Mail addresses, also with a full-width @ and as `name(at)host.org`."""
    return (match.span() for match in _EMAIL.finditer(text))


def handles(text: str) -> Iterator[Span]:
    """Names of accounts: `@name`."""
    return (match.span() for match in _HANDLE.finditer(text))


def ibans(text: str) -> Iterator[Span]:
    """IBANs of every country in the registry whose check digits are right."""
    from stdnum import iban

    place = 0
    while match := _IBAN.search(text, place):
        place = match.start() + 2
        for end in sorted(_ends(match.group()), reverse=True):
            compact = re.sub(_GAP, "", match.group()[:end])
            if 15 <= len(compact) <= 34 and iban.is_valid(compact, check_country=False):
                place = match.start() + end
                yield match.start(), place
                break


def cards(text: str) -> Iterator[Span]:
    """Card numbers: an issuer's first digits and length, and Luhn's check digit."""
    from stdnum import ean, luhn

    for match in _DIGITS.finditer(text):
        groups = [item.span() for item in re.finditer(r"\d+", match.group())]
        last = 0
        for start, _ in groups:
            for _, end in reversed(groups):
                digits = "".join(filter(str.isdigit, match.group()[start:end]))
                if start < last or not _ISSUED.fullmatch(digits):
                    continue
                if luhn.is_valid(digits) and len(set(digits)) > 1 and not ean.is_valid(digits):
                    last = end
                    yield match.start() + start, match.start() + end
                    break


def phones(text: str) -> Iterator[Span]:
    """Phone numbers with a country code, or as they are written in `REGIONS` and the US."""
    if not _PHONE_LIKE.search(text) and not _FICTION.search(text):
        return
    import phonenumbers

    found = [match.span() for match in _FICTION.finditer(text)]
    lenient = phonenumbers.Leniency.POSSIBLE
    for match in phonenumbers.PhoneNumberMatcher(text, "GB", leniency=lenient):
        if _is_phone(match.raw_string, text[: match.start], text[match.end : match.end + 2]):
            found.append((match.start, match.end))
    yield from _apart(found)


def addresses(text: str) -> Iterator[Span]:
    """IP addresses, version 4 and 6; not a machine's own (127.0.0.1), nor versions of software."""
    for match in _IP.finditer(text):
        try:
            found = ip_address(match.group())
        except ValueError:
            continue
        named = _VERSION.search(text, max(0, match.start() - 12), match.start())
        if not named and not found.is_loopback and not found.is_unspecified:
            yield match.span()


def _ends(match: str) -> Iterator[int]:
    """Places where a word ends."""
    return (place.end() for place in re.finditer(r"[A-Za-z0-9](?![A-Za-z0-9])", match))


def _is_phone(raw: str, before: str, after: str) -> bool:
    """Whether what has a possible length is written as a phone number, and no date or article."""
    import phonenumbers
    from stdnum import ean

    digits = "".join(filter(str.isdigit, raw))
    joined = before[-1:] in tuple("#@/.,") or re.match(rf"[.,:/{_DASHES}]\d|\w", after)
    if joined or _DATE.match(raw) or (raw.isdigit() and len(raw) == 13 and ean.is_valid(raw)):
        return False
    if raw[:1] in "+\uff0b":
        return len(digits) >= 7
    if raw.startswith("00"):
        return len(digits) >= 9 and _valid(raw, ("GB",))
    if _AMERICAN.fullmatch(raw):
        return phonenumbers.is_possible_number(phonenumbers.parse(raw, "US"))
    return raw[:1] in "(0\uff10" and len(digits) >= 9 and _valid(raw, REGIONS)


def _valid(raw: str, regions: tuple[str, ...]) -> bool:
    import phonenumbers

    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(raw, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def _apart(spans: list[Span]) -> Iterator[Span]:
    """The spans in order; of those that overlap, the first and longest."""
    last = 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= last:
            last = end
            yield start, end


_WINDOW = 4096
# What detect-secrets 1.5 has no rule for, or finds only between quotation marks.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_VENDORS = re.compile(
    r"(?<![\w-])(?:github_pat_\w{22,255}|sk-(?:ant-|proj-|or-)?[\w-]{20,200}|AIza[\w-]{35}"
    r"|hf_[A-Za-z0-9]{30,}|(?:AKIA|ASIA)[A-Z0-9]{16}|ya29\.[\w-]{20,}"
    r"|dop_v1_[0-9a-f]{64}|npm_[A-Za-z0-9]{36}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{2,}\.[\w-]*)"
)
_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase|code)|\bpwd|\bpw|secret|token|(?:api|access|private|account|auth)"
    r"[ _-]?key|passwort|contrase\u00f1a|mot de passe)\w{0,20}[\"']?"
    r"(?:\s{0,3}(?P<sign>[:=]|=>|:=)\s{0,3}|\s(?:is|was|to|ist|es)\s{1,3}|\s)"
    r"[\"'`]?(?P<value>[^\s\"'`,;<>\[\]{}]{6,200})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\bbearer\s{1,3}(?P<value>[\w.~+/-]{16,}=*)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@:]{0,200}:(?P<value>[^\s/@]{1,200})(?=@)")


def secrets(text: str) -> Iterator[Span]:
    """API keys, tokens, private keys, passwords that are named as such or stand in an address."""
    found = [match.span() for match in _PRIVATE_KEY.finditer(text)]
    found += [match.span() for match in _VENDORS.finditer(text)]
    for pattern in (_BEARER, _IN_ADDRESS):
        found += [match.span("value") for match in pattern.finditer(text)]
    found += [match.span("value") for match in _NAMED.finditer(text) if _random(match)]
    for start, end in _windows(text):
        for rule in _rules():
            for match in rule.finditer(text[start:end]):
                span = match.span()
                for group in range(1, rule.groups + 1):
                    if match.end(group) - match.start(group) >= 8:
                        span = match.span(group)
                found.append((start + span[0], start + span[1]))
    marked = ((a, b) for a, b in found if text[a:b] not in ("[SECRET]", "SECRET"))
    yield from _apart(list(marked))


def _random(match: re.Match[str]) -> bool:
    """Whether the word after `password` is one that nobody writes in a sentence."""
    value = match["value"].rstrip(".!?:)")
    kinds = (str.islower, str.isupper, str.isdigit, lambda sign: not sign.isalnum())
    mixed = sum(any(map(kind, value)) for kind in kinds)
    return len(value) >= 6 and any(map(str.isdigit, value)) + (mixed >= 2) + bool(match["sign"]) > 1


@cache
def _rules() -> tuple[re.Pattern[str], ...]:
    """detect-secrets' regular expressions; its entropy and keyword rules are made for source
    code."""
    from detect_secrets.plugins import (
        artifactory,
        aws,
        azure_storage_key,
        cloudant,
        discord,
        github_token,
        gitlab_token,
        ibm_cloud_iam,
        ibm_cos_hmac,
        mailchimp,
        npm,
        openai,
        pypi_token,
        sendgrid,
        slack,
        softlayer,
        square_oauth,
        stripe,
        telegram_token,
        twilio,
    )

    kinds = (
        artifactory.ArtifactoryDetector,
        aws.AWSKeyDetector,
        azure_storage_key.AzureStorageKeyDetector,
        cloudant.CloudantDetector,
        discord.DiscordBotTokenDetector,
        github_token.GitHubTokenDetector,
        gitlab_token.GitLabTokenDetector,
        ibm_cloud_iam.IbmCloudIamDetector,
        ibm_cos_hmac.IbmCosHmacDetector,
        mailchimp.MailchimpDetector,
        npm.NpmDetector,
        openai.OpenAIDetector,
        pypi_token.PypiTokenDetector,
        sendgrid.SendGridDetector,
        slack.SlackDetector,
        softlayer.SoftlayerDetector,
        square_oauth.SquareOAuthDetector,
        stripe.StripeDetector,
        telegram_token.TelegramBotTokenDetector,
        twilio.TwilioKeyDetector,
    )
    return tuple(rule for kind in kinds for rule in kind.denylist)


def _windows(text: str) -> Iterator[Span]:
    """Lines, or parts of long ones that end at a gap where there is one: rules stay linear."""
    for line in re.finditer(r"[^\n]+", text):
        start = line.start()
        while start < line.end():
            end = min(start + _WINDOW, line.end())
            if end < line.end():
                gap = text.rfind(" ", start, end)
                end = gap + 1 if gap > start else end
            yield start, end
            start = end


# Order matters: a secret may hold an address, an IBAN holds digits, a card could be a phone number.
KINDS: dict[str, Callable[[str], Iterator[Span]]] = {
    "secret": secrets,
    "email": emails,
    "iban": ibans,
    "card": cards,
    "ip": addresses,
    "phone": phones,
    "handle": handles,
}
