"""Reports as mails, through a real SMTP server."""

import re
from dataclasses import replace
from typing import Any

import pytest

from deployments.sandbox.mailbox.messages import Mailbox
from wishcraft.mail.providers.smtp import SmtpMailer
from wishcraft.reports.html import Report, as_html, as_mail
from wishcraft.reports.markdown import link, table
from wishcraft.reports.plots import BarChart, draw, markdown_image
from wishcraft.urls.mail import parse_smtp

PLOT = draw([BarChart("Runs", "3", ["a", "b"], [1, 2])])
REPORT = Report(
    title="Service levels",
    verdict="All is well.",
    body=f"| objective | value |\n| --- | --- |\n| uptime | ✓ 100 % |\n\n{markdown_image(PLOT, 'Runs by job')}\n\n"
    "<script>",
    link="https://prefect.example/artifacts/1",
)


async def test_report_arrives_with_its_plots_embedded(mail_settings: dict[str, Any], mailbox: Mailbox) -> None:
    mailer = SmtpMailer(parse_smtp(mail_settings["mail_url"]), "registry@wishcraft.example")
    await mailer.send(as_mail(REPORT, "ops@wishcraft.example", "<one@wishcraft.example>"))
    await mailer.close()
    [received] = mailbox.messages
    message = received.parsed
    assert message["Subject"] == "Service levels: All is well."
    assert message["List-Unsubscribe"] is None
    [picture] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert picture.get_payload(decode=True) == PLOT
    assert picture["Content-ID"] == "<plot1.png>"
    page = message.get_body(("html",))
    assert page
    html = page.get_content()
    assert '<img src="cid:plot1.png" alt="Runs by job"' in html
    assert "<td>✓\N{NO-BREAK SPACE}100\N{NO-BREAK SPACE}%</td>" in html
    assert "<script" not in html


def test_text_has_no_markdown_syntax() -> None:
    rows = [(link("brave [fox]] | (", "https://prefect.example/v2/runs/1"), "a | b* failed [redacted] **\\")]
    body = f"## Runs\n\n**Look at**: `all`.\n\n{table(('run', 'why'), rows)}"
    text = as_mail(replace(REPORT, body=body), "ops@wishcraft.example", "<one@wishcraft.example>").text
    assert text.splitlines()[2:-2] == [
        "Runs",
        "",
        "Look at: `all`.",
        "",
        "| run | why |",
        "| brave [fox]] | ( (https://prefect.example/v2/runs/1) | a | b* failed [redacted] **\\ |",
    ]


async def test_long_verdict_is_cut_at_a_word_in_the_subject(mail_settings: dict[str, Any], mailbox: Mailbox) -> None:
    report = replace(REPORT, verdict="Look at this: " + "shop.example " * 50)
    mailer = SmtpMailer(parse_smtp(mail_settings["mail_url"]), "registry@wishcraft.example")
    await mailer.send(as_mail(report, "ops@wishcraft.example", "<one@wishcraft.example>"))
    await mailer.close()
    subject = str(mailbox.messages[0].parsed["Subject"])
    assert 180 < len(subject) <= 200
    assert subject.endswith(" shop.example …")


RIGHT = 'style="text-align:right"'


def test_figures_do_not_wrap_and_wide_tables_scroll() -> None:
    body = table(("size", "why"), [("3.4 MiB", "a word " * 10), ("✗ 99.9 %", "10 runs"), ("no data", "")])
    report = replace(REPORT, verdict="Missed: uptime (9 %).", body=body)
    html = as_mail(report, "ops@wishcraft.example", "<one@wishcraft.example>").html
    assert "<h1>Missed: uptime (9\N{NO-BREAK SPACE}%).</h1>" in html
    assert ">no\N{NO-BREAK SPACE}data</td>" in html
    assert ">3.4\N{NO-BREAK SPACE}MiB</td>" in html
    assert ">✗\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%</td>" in html
    assert ">10 runs</td>" in html
    assert re.search(r'<td class="long">(<span[^>]*>why</span>)?a word', html)
    assert "overflow-x: auto" in html


def test_wide_tables_have_the_name_of_the_column_in_each_cell_for_phones() -> None:
    rows = [("cache-warm", "2", "100 %", "9.3 s"), ("ask", "1", "", "<b>")]
    wide = as_mail(
        replace(REPORT, body=table(("job", "runs", "ok", "a <i>"), rows)), "ops@wishcraft.example", "<1@x>"
    ).html
    label = '<span class="label" style="display:none">'
    assert '<table class="wide">' in wide
    for cell in (
        "<td>cache-warm</td>",
        f"<td {RIGHT}>{label}runs</span>2</td>",
        f"<td {RIGHT}>{label}ok</span>",
        f"<td>{label}a &lt;i&gt;</span>&lt;b&gt;</td>",
        "<td>ask</td>",
    ):
        assert cell in wide
    narrow = as_mail(
        replace(REPORT, body=table(("job", "runs", "ok"), [("ask", "1", "")])), "ops@wishcraft.example", "<1@x>"
    )
    assert "<table>" in narrow.html
    assert label not in narrow.html


def test_the_text_is_the_markdown_without_the_pictures_data() -> None:
    text = as_mail(REPORT, "ops@wishcraft.example", "<one@wishcraft.example>").text
    assert text.startswith("All is well.\n\n| objective | value |")
    assert "[Runs by job]" in text
    assert "base64" not in text
    assert text.endswith("https://prefect.example/artifacts/1\n")


@pytest.mark.parametrize(
    ("header", "row", "is_wide"),
    [
        (("index", "size"), ("registries_shop_id_status_event_date_idx", "512.25 KiB"), True),
        (("shop", "why"), ("maple", "any reason " * 6), True),
        (("minute", "errors", "requests"), ("2026-03-14 12:00 UTC", "12", "3,456"), False),
        (("index", "size"), ("a &", "&&&&&&&&" * 5), False),
    ],
)
def test_table_of_few_columns_is_wide_if_its_cells_do_not_fit_a_phone(
    header: tuple[str, ...], row: tuple[str, ...], is_wide: bool
) -> None:
    html = as_html(replace(REPORT, body=table(header, [row])))
    assert ('<table class="wide">' in html) == is_wide


def test_figure_that_begins_a_row_has_the_name_of_its_column_on_phones() -> None:
    html = as_html(replace(REPORT, body=table(("seconds", "calls", "mean", "query"), [("9.5", "3", "1", "SELECT")])))
    assert f'<td {RIGHT}><span class="label" style="display:none">seconds</span>9.5</td>' in html
