from pathlib import Path

from deployments.sandbox.secret_files import read_or_create_secret


def test_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secret = read_or_create_secret(file, prefix="ops:")
    assert secret.startswith("ops:")
    assert len(secret) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_or_create_secret(file, prefix="ops:") == secret


def test_empty_file_of_a_killed_process_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.with_name("secret.new").write_text("half")
    assert len(read_or_create_secret(file)) >= 32
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]
