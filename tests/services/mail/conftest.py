"""All tests send to the mail server."""

import pytest

from wishcraft.settings import Settings


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail
