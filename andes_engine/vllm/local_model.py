"""A small random-weight Llama made on the spot: no hub, no download, only a configuration and a tokenizer."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

VOCABULARY_TOKENS = 4_096
WEIGHTS = "model.safetensors"
RESERVED_TOKENS = ("<unk>", "<s>", "</s>", "<pad>")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Size of the model; the defaults take some milliseconds per step with 32 sequences on one CPU core.

    Args:
        hidden: Width.
        layers: Depth.
        heads: Attention heads.
        max_position_tokens: Longest context.
        kv_heads: Key and value heads; as many as `heads` by default.
        intermediate: Width of the feed-forward part; twice `hidden` by default.
        vocabulary_tokens: Size of the embedding; the prompts of our workloads have the first `VOCABULARY_TOKENS` only.
        dtype: Of the weights.
    """

    hidden: int = 256
    layers: int = 4
    heads: int = 4
    max_position_tokens: int = 4096
    kv_heads: int | None = None
    intermediate: int | None = None
    vocabulary_tokens: int = VOCABULARY_TOKENS
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Refuse shapes that Llama cannot have."""
        if self.hidden % self.heads:
            raise ValueError(
                f"hidden ({self.hidden}) must be a multiple of heads ({self.heads}); e.g. hidden={self.heads * 64}."
            )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads}).")


LLAMA3_8B = ModelShape(4096, 32, 32, 8192, kv_heads=8, intermediate=14336, vocabulary_tokens=128_256, dtype="bfloat16")
"""The shape of Llama 3 8B (arXiv 2407.21783, table 3): 8.03e9 weights, 131,072 bytes of KV cache per token."""


def llama_config(shape: ModelShape) -> dict[str, object]:
    """Contents of `config.json`; vLLM fills the weights with `--load-format dummy`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate or shape.hidden * 2,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads or shape.heads,
        "max_position_embeddings": shape.max_position_tokens,
        "vocab_size": shape.vocabulary_tokens,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": shape.dtype,
    }


def models_folder() -> Path:
    """Where this machine keeps them, unless told otherwise."""
    return Path(tempfile.gettempdir()) / "andes-rl-models"


def build_local_model(directory: Path, shape: ModelShape | None = None) -> Path:
    """Write the model once; an existing one of the same shape is kept.

    Args:
        directory: Where to put it; a subfolder named after the shape is made.
        shape: Size of the model.

    Returns:
        The folder to give to vLLM as the model.
    """
    shape = shape or ModelShape()
    name = "llama-v3-{hidden}x{layers}-h{heads}-p{max_position_tokens}-k{kv_heads}-i{intermediate}-v{vocabulary_tokens}-{dtype}"
    folder = directory / name.format(**asdict(shape))
    marker = folder / "config.json"
    if not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_tokenizer(folder, shape.vocabulary_tokens)
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
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "model.embed_tokens.weight": (words, hidden),
        "lm_head.weight": (words, hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        shapes |= {f"{name}.self_attn.{kind}_proj.weight": (hidden, hidden) for kind in "qo"}
        shapes |= {f"{name}.self_attn.{kind}_proj.weight": (keys, hidden) for kind in "kv"}
        shapes |= {f"{name}.mlp.{kind}_proj.weight": (inner, hidden) for kind in ("gate", "up")}
        shapes[f"{name}.mlp.down_proj.weight"] = (hidden, inner)
        shapes |= {f"{name}.{kind}_layernorm.weight": (hidden,) for kind in ("input", "post_attention")}
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(shape, generator=generator) / shape[1] ** 0.5 if len(shape) > 1 else torch.ones(shape)
        for name, shape in shapes.items()
    }
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _write_tokenizer(folder: Path, tokens: int) -> None:
    """Words `w4 ..` up to so many, split at spaces: token ids survive decoding and encoding exactly."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {token: index for index, token in enumerate(RESERVED_TOKENS)}
    words |= {f"w{index}": index for index in range(len(RESERVED_TOKENS), tokens)}
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
