import httpx
from fastapi import FastAPI

from deployments.sandbox.mailbox.letters import Letterbox


def test_an_alert_becomes_a_letter_to_ops(mailbox: Letterbox, mailbox_server: tuple[str, FastAPI]) -> None:
    body = {"text": "cache-warm: Failed\n3 shops: …\nhttp://127.0.0.1"}
    assert httpx.post(f"{mailbox_server[0]}/alerts", json=body, trust_env=False).status_code == 204
    [letter] = mailbox.letters
    assert letter.recipients == ["ops@wishcraft.example"]
    assert letter.whole()["subject"] == "cache-warm: Failed"
    assert letter.whole()["text"] == "3 shops: …\nhttp://127.0.0.1\n"
