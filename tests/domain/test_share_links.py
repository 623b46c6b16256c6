"""Which templates of share links a shop may set."""

import pytest

from wishcraft.domain.share_links import check_template, share_template

DOMAIN = "maple-and-pine.myshopify.com"


@pytest.mark.parametrize(
    "template",
    [
        "https://shop.example/{slug}",
        "https://www.maple-and-pine.example/pages/registry?slug={slug}&utm_source=mail#top",
        "https://xn--bcher-kva.example/de/wunschliste/{slug}.html",
    ],
)
def test_https_url_with_the_slug_after_the_host_is_a_template(template: str) -> None:
    assert check_template(template) == template


@pytest.mark.parametrize(
    "template",
    [
        "", "{slug}", "/registry/{slug}", "http://shop.example/{slug}", "HTTPS://shop.example/{slug}",
        "https://shop.example/registry", "https://shop.example/{slug}/{slug}", "https://shop.example/{shop}/{slug}",
        "https://shop.example/{}{slug}", "https://{slug}.shop.example/", "https://{slug}/", "https://shop.example{slug}",
        "https://shop.example:8443/{slug}", "https://shop.example@evil.example/{slug}", "https://localhost/{slug}",
        "https://127.0.0.1/{slug}", "https://[::1]/{slug}", "https://shop..example/{slug}", "https://-shop.example/{slug}",
        "https://shop.example/{slug}\n", " https://shop.example/{slug}", "https://shop.example/a b/{slug}",
        'https://shop.example/"onclick=/{slug}', "https://shop.example/<b>/{slug}", "https://bücher.example/{slug}",
        "javascript:alert(1)//{slug}", "https://shop.example/%zz{slug}", "https://shop.example/?q=%{slug}",
        "https://shop.example/%2{slug}", "https://" + "a" * 64 + ".example/{slug}", "https://shop.example\\@evil.example/{slug}",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(template: str) -> None:
    with pytest.raises(ValueError, match=r"https://shop.example/pages/registry\?slug=\{slug\}"):
        check_template(template)


@pytest.mark.parametrize(
    ("own", "origin", "link"),
    [
        (None, "https://{shop}", f"https://{DOMAIN}/apps/registry/r/emma"),
        (None, "http://127.0.0.1:4400/{shop}", f"http://127.0.0.1:4400/{DOMAIN}/apps/registry/r/emma"),
        (f"https://{DOMAIN}/gifts/{{slug}}", "http://127.0.0.1:1/{shop}", f"http://127.0.0.1:1/{DOMAIN}/gifts/emma"),
        ("https://maple.example/gifts/{slug}", "http://127.0.0.1:1/{shop}", "https://maple.example/gifts/emma"),
    ],
)
def test_share_link_leads_to_where_the_shops_pages_are(own: str | None, origin: str, link: str) -> None:
    assert share_template(own, DOMAIN, origin).replace("{slug}", "emma") == link
