"""A tiny random Llama with a byte-level BPE tokenizer and a ChatML template, built at test time in
about a second.
"""

from __future__ import annotations

from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CORPUS = (
    "Customer: hello, my parcel has not arrived and the tracking page says delivered.",
    "Agent: sorry to hear that, could you send me the order number please?",
    "Summarize the conversation between a customer and an agent in two sentences.",
    "The customer asks for a refund because the order is late. The agent promises to check within "
    "24 hours.",
    "You are a helpful assistant. Write a short summary of what happened and how it ended.",
    "system user assistant 0 1 2 3 4 5 6 7 8 9 10 2024 100 EUR",
)


def build_tiny_model(folder: Path, *, layers: int = 2, context: int = 4096, seed: int = 0) -> Path:
    """Write a Llama (hidden size 64, vocabulary about 500) and its tokenizer into `folder`; same
    seed, same bytes.

    Returns:
        `folder`, holding config.json, model.safetensors, tokenizer.json and the chat template.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        CORPUS * 3,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        model_max_length=context,
    )
    wrapped.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder
