"""Settings as environment variables, for child processes."""

from pydantic import SecretStr

from wishcraft.settings import Settings


def settings_environment(settings: Settings) -> dict[str, str]:
    """The variables from which a child process reads the same settings; unset settings are omitted."""
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }
