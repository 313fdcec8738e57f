"""A small random-weight Llama made on the spot: no hub, no download, only a configuration and a tokenizer."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

VOCABULARY_TOKENS = 4_096
WEIGHTS = "model.safetensors"
RESERVED_TOKENS = ("<unk>", "<s>", "</s>", "<pad>")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Size of the model; the defaults take some milliseconds per step with 32 sequences on one CPU core."""

    hidden: int = 256
    layers: int = 4
    heads: int = 4
    max_position_tokens: int = 4096

    def __post_init__(self) -> None:
        """Refuse shapes that Llama cannot have."""
        if self.hidden % self.heads:
            raise ValueError(
                f"hidden ({self.hidden}) must be a multiple of heads ({self.heads}); e.g. hidden={self.heads * 64}."
            )


def llama_config(shape: ModelShape) -> dict[str, object]:
    """Contents of `config.json`; vLLM fills the weights with `--load-format dummy`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.hidden * 2,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "max_position_embeddings": shape.max_position_tokens,
        "vocab_size": VOCABULARY_TOKENS,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def build_local_model(directory: Path, shape: ModelShape | None = None) -> Path:
    """Write the model once; an existing one of the same shape is kept.

    Args:
        directory: Where to put it; a subfolder named after the shape is made.
        shape: Size of the model.

    Returns:
        The folder to give to vLLM as the model.
    """
    shape = shape or ModelShape()
    folder = directory / "llama-v1-{hidden}x{layers}-h{heads}-p{max_position_tokens}".format(**asdict(shape))
    marker = folder / "config.json"
    if not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_tokenizer(folder)
        marker.write_text(
            json.dumps(llama_config(shape), indent=2)
        )  # last: its presence says that the folder is complete
    return folder


def load_format(folder: Path) -> str:
    """How vLLM is to load the model: weights of its own if there are any (`write_weights`), else vLLM's `dummy` ones.

    Dummy weights are all within 0.001 of zero, norms included (`initialize_dummy_weights`, 0.32.0): such a model takes as long as
    any other, but what it says depends on the last token alone, so it cannot tell a right KV cache from a wrong one.
    """
    return "auto" if (folder / WEIGHTS).exists() else "dummy"


def write_weights(folder: Path, seed: int = 0) -> None:
    """Give a local model random weights with which every token depends on all tokens before it; 19 MB for the default shape."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner, words = (config[key] for key in ("hidden_size", "intermediate_size", "vocab_size"))
    shapes = {
        "model.embed_tokens.weight": (words, hidden),
        "lm_head.weight": (words, hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        shapes |= {f"{name}.self_attn.{kind}_proj.weight": (hidden, hidden) for kind in "qkvo"}
        shapes |= {f"{name}.mlp.{kind}_proj.weight": (inner, hidden) for kind in ("gate", "up")}
        shapes[f"{name}.mlp.down_proj.weight"] = (hidden, inner)
        shapes |= {f"{name}.{kind}_layernorm.weight": (hidden,) for kind in ("input", "post_attention")}
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(shape, generator=generator) / shape[1] ** 0.5 if len(shape) > 1 else torch.ones(shape)
        for name, shape in shapes.items()
    }
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _write_tokenizer(folder: Path) -> None:
    """Words `w4 .. w4095` split at spaces: token ids survive decoding and encoding exactly."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {token: index for index, token in enumerate(RESERVED_TOKENS)}
    words |= {f"w{index}": index for index in range(len(RESERVED_TOKENS), VOCABULARY_TOKENS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=RESERVED_TOKENS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
