"""Models from the Hugging Face hub: what is on this disk is used as it is, anything else is fetched once."""

import re
from pathlib import Path

from core.errors import SetupError

FILES = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_id(model: str) -> bool:
    """Whether a name can be a hub id, which is `owner/name`."""
    return bool(_ID.fullmatch(model))


def cached(model: str) -> Path | None:
    """The folder of what was fetched before, perhaps in part; using it keeps the base of existing data as it was."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES), local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def fetch(model: str) -> Path:
    """Download a model and return its folder; raises SetupError with the cause when that fails."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError) as error:
        raise SetupError(f"The model {model} is not on this disk and cannot be fetched: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"{first} Check the name and the network (HF_TOKEN for a gated model), or set HONE_MODEL to a folder."
