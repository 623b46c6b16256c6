"""The mail about a customer's request for their data: a link, and no word about the customer."""

from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.data_request import compose_data_request

LINK = "https://registry.example/files/a-run/customer-data-1.json"


def test_mail_says_what_to_do_with_the_file_behind_the_link() -> None:
    content = compose_data_request(Letterhead("Maple & <Pine>", "#2f6f5e"), LINK)
    assert content.subject == "A customer asked for their data"
    assert "a customer of Maple & <Pine>" in content.text
    assert "a customer of Maple &amp; &lt;Pine&gt;" in content.html
    for body in (content.text, content.html):
        assert LINK in body
        assert "within 30 days" in body
        assert "ask them soon to send you the file" in body
