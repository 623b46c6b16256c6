"""Values of requests that no shop's pages or mails should have to show."""

import pytest

from tests.support.api import WEDDING, Shopper, problem

PATH = "/api/registries"


INVISIBLE = [
    "Emma \u202e gnidneW", "Em\u200bma", "\u200fEmma", "Emma\u2066", "E\u00admma", "Emma\ufeff", "Emma\u2028Hugo",
    "Emma\u200d", "\u200cEmma", "Emma\u200d\u200dHugo", "Em\x85ma", "Emma\u2060", "\u3164",
    "Emma\x7f", "Emma\U000e0041", "Em\u034fma", "\u2800",
    "Em\u200dma", "\u042d\u043c\u200c\u043c\u0430", "Emma\ufe0f", "Em\U000e0100ma", "花\ufe00\ufe00",
    "Em\u180bma", "Em\u17b4ma", "Emma\U0001d173", "Emma\U000e0fff", "Em\ufff0ma",
]  # fmt: skip


@pytest.mark.parametrize("field", ["title", "first_name", "description"])
async def test_invisible_and_direction_changing_characters_are_refused(emma: Shopper, field: str) -> None:
    for text in INVISIBLE:
        values: dict[str, object] = {field: text}
        if field == "first_name":
            values = {"registrant": {"first_name": text, "last_name": "Reed", "email": "emma.reed@example.com"}}
        answer = await emma.send("POST", PATH, WEDDING | values)
        assert problem(answer) == (422, "invalid-request"), ascii(text)
        assert "characters" in answer.json()["detail"]


async def test_refusal_lists_each_invalid_field_with_its_place(emma: Shopper) -> None:
    person = {"first_name": "Emma", "last_name": "Reed", "email": "no address", "a/b ~cé": 1}
    body = WEDDING | {"event_type": "party", "registrant": person}
    answer = await emma.send("POST", PATH, body)
    assert problem(answer) == (422, "invalid-request")
    pointers = {each["pointer"] for each in answer.json()["errors"]}
    assert pointers == {"#/event_type", "#/registrant/email", "#/registrant/a~1b%20~0c%C3%A9"}
    assert all(each.keys() == {"detail", "pointer"} and each["detail"] for each in answer.json()["errors"])
    answer = await emma.send("GET", f"{PATH}?limit=1000&event_from=never")
    assert {each["parameter"] for each in answer.json()["errors"]} == {"limit", "event_from"}
    answer = await emma.send("PATCH", f"{PATH}/no-such", {str(number): 1 for number in range(200)}, if_match="*")
    assert len(answer.json()["errors"]) == 50
    assert answer.json()["detail"].endswith("and 150 more")
    answer = await emma.send("POST", f"{PATH}/no-such/unlock", None)
    assert problem(answer)[0] in {404, 415, 422}
    assert "errors" not in (await emma.send("GET", f"{PATH}/no-such")).json()


async def test_refusal_says_where_a_body_is_no_json(emma: Shopper) -> None:
    answer = await emma.send("POST", PATH, b'{"title": "Emma",}')
    assert problem(answer) == (422, "invalid-request")
    assert answer.json()["detail"].startswith("body: is not valid JSON at character 18: ")
    assert answer.json()["errors"][0]["pointer"] == "#"


@pytest.mark.parametrize(
    "text",
    [
        "👩‍👩‍👧 Familie",
        "می‌خواهم",
        "אמה והוגו",
        "إيما وهوغو",
        "Zoë & Łukasz",
        "結婚",
        "क्‍ष",
        "Emma\tReed",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿 Emma",
        "\u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3 \u00a9\ufe0f",
        "葛\U000e0100飾",
        "\u182a\u180b",
    ],
)
async def test_texts_of_all_scripts_are_accepted(emma: Shopper, text: str) -> None:
    answer = await emma.send("POST", PATH, WEDDING | {"title": text})
    assert answer.status_code == 201, answer.text
    assert answer.json()["title"] == text


@pytest.mark.parametrize("event_date", [0, 1.5, 1_800_000_000, True, "0", "0001-01-01", "1899-12-31", "3000-01-01", []])
async def test_event_date_is_a_text_within_the_calendars_of_people(emma: Shopper, event_date: object) -> None:
    answer = await emma.send("POST", PATH, WEDDING | {"event_date": event_date})
    assert problem(answer) == (422, "invalid-request")


@pytest.mark.parametrize("event_date", [None, "1900-01-01", "2999-12-31"])
async def test_event_date_may_be_left_out_or_far_away(emma: Shopper, event_date: str | None) -> None:
    answer = await emma.send("POST", PATH, WEDDING | {"event_date": event_date})
    assert (answer.status_code, answer.json()["event"]["date"]) == (201, event_date)


@pytest.mark.parametrize(
    "variant_id",
    ["gid://shopify/Product/1", "gid://shopify/ProductVariant/x", "gid://shopify/ProductVariant/0", "gid:", 0],
)
async def test_variant_id_of_another_kind_is_refused(emma: Shopper, variant_id: object) -> None:
    slug = await emma.create()
    answer = await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": variant_id})
    assert problem(answer) == (422, "invalid-request")


@pytest.mark.parametrize("variant_id", [True, 1.5, None, [], "x", "gid://shopify/Product/1"])
async def test_refused_variant_id_is_answered_with_the_forms_that_one_has(emma: Shopper, variant_id: object) -> None:
    answer = await emma.send("POST", f"{PATH}/{await emma.create()}/items", {"variant_id": variant_id})
    detail = "is not the id of a ProductVariant, such as 1 or gid://shopify/ProductVariant/1"
    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (422, detail)


@pytest.mark.parametrize("body", [b"{", b'"x"', b"null", b"[" * 20_000, b"\xff\xfe"])
async def test_problem_of_an_unreadable_body_points_at_the_whole(emma: Shopper, body: bytes) -> None:
    answer = await emma.send("POST", PATH, body)
    assert problem(answer) == (422, "invalid-request")
    assert [each["pointer"] for each in answer.json()["errors"]] == ["#"]


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"visibility": "password"}, "#/access_code"),
        ({"visibility": "password", "access_code": "password1"}, "#/access_code"),
    ],
)
async def test_problem_of_a_refused_value_points_at_its_field(
    emma: Shopper, values: dict[str, str], pointer: str
) -> None:
    answer = await emma.send("POST", PATH, WEDDING | values)
    assert problem(answer) == (422, "invalid-request")
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (f"{PATH}?limit=0&sort=title", {"limit", "sort"}),
        (f"{PATH}?cursor=x", {"cursor"}),
        (f"{PATH}?event_from=2027-06-13&event_to=2027-06-12", {"event_from"}),
        ("/api/products?ids=x", {"ids"}),
        ("/api/my-registries?status=gone", {"status"}),
        ("items?availabel=true&prize=1", {"availabel", "prize"}),
        ("items?price_min=12.51&price_max=12.50", {"price_min"}),
    ],
)
async def test_problem_names_each_invalid_parameter(emma: Shopper, query: str, parameters: set[str]) -> None:
    path = f"{PATH}/{await emma.create()}/{query}" if query.startswith("items") else query
    answer = await emma.send("GET", path)
    assert problem(answer) == (422, "invalid-request")
    assert {each["parameter"] for each in answer.json()["errors"]} == parameters


@pytest.mark.parametrize(
    "query", [f"{PATH}?event_from=2027-06-12&event_to=2027-06-12", "items?price_min=12.5&price_max=12.50"]
)
async def test_bounds_of_a_filter_may_be_equal(emma: Shopper, query: str) -> None:
    path = f"{PATH}/{await emma.create()}/{query}" if query.startswith("items") else query
    assert (await emma.send("GET", path)).status_code == 200
