"""VMs that come with the laboratory: a VM file each."""

from importlib.resources import files


def names() -> list[str]:
    """What ``--vm`` takes besides files."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in files(__name__).iterdir() if entry.name.endswith(".toml")
    )


def text(name: str) -> str:
    """The VM file. Raises ``FileNotFoundError``."""
    return files(__name__).joinpath(f"{name}.toml").read_text()
