"""Rules for the DNS records of a sending domain: SPF, DKIM, DMARC, and which shop may send from it. Pure.

Mailbox providers refuse or hide mail of a domain whose records are missing (RFC 7208, RFC 6376, RFC 7489).
"""

import base64
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

MAX_SPF_LOOKUPS: Final = 10
"""Above it, receivers treat the record as an error: RFC 7208, section 4.6.4."""
_RSA_1024_BYTES: Final = 162
_RSA_2048_BYTES: Final = 294
"""Sizes of a SubjectPublicKeyInfo; a shorter one has a shorter key."""
_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+", re.ASCII)
"""Any name of a record: unlike a host, it may have underscores."""
_SELECTOR: Final = re.compile(r"(?!.{65})[A-Za-z0-9][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_-]{1,63})*(?<![._-])", re.ASCII)
_LOOKUP: Final = re.compile(
    r"[+?~-]?(?:(?P<nested>include:|redirect=)|exists:|(?:a|mx|ptr)(?:[:/]|$))(?P<domain>.*)", re.IGNORECASE
)
"""A term for which a receiver asks DNS; `nested` ones name a record whose own terms count too."""
_ALL: Final = re.compile(r"([+?~-]?)all", re.IGNORECASE)
SPF_OF_PROVIDER: Final[Mapping[str, str]] = {"ses": "amazonses.com", "sendgrid": "sendgrid.net"}
"""The `include` that the SPF record of the return path's domain must have, by the scheme of MAIL_URL."""


class RecordState(StrEnum):
    """Whether a record does what it is for."""

    OK = "ok"
    WEAK = "weak"
    """Receivers accept it, and it protects little."""
    WRONG = "wrong"
    MISSING = "missing"


class CheckedRecord(NamedTuple):
    """A record, and what to do about it."""

    kind: str
    """`SPF`, `DKIM`, `DMARC` or `Owner`."""
    name: str
    """Where it is in DNS."""
    state: RecordState
    detail: str
    remedy: str = ""


class SpfTerms(NamedTuple):
    """The terms of an SPF record that cost lookups."""

    lookups: int
    included: Sequence[str]
    """Domains whose own records count too."""


def own_sender(mail_from: str | None, verified_domain: str | None) -> str | None:
    """The sender that a shop has set, if its domain is the verified one; None if mails have that of the app."""
    return mail_from if mail_from and domain_of(mail_from) == verified_domain else None


def domain_of(address: str) -> str:
    """The domain of an address, in lower case."""
    return address.rpartition("@")[2].lower()


def owner_name(domain: str) -> str:
    """Where a domain names the shop that may send from it."""
    return f"_wishcraft.{domain}"


def check_owner(domain: str, shop_domain: str, texts: Sequence[str]) -> CheckedRecord:
    """Check that the domain names the shop: else a shop could send from the domain of another one."""
    wanted = f"shop={shop_domain}"
    if wanted in {text.strip().lower() for text in texts}:
        return CheckedRecord("Owner", owner_name(domain), RecordState.OK, "it names the shop")
    state = RecordState.WRONG if texts else RecordState.MISSING
    detail = "it names another shop" if texts else "it names no shop"
    return CheckedRecord("Owner", owner_name(domain), state, detail, f"Add the TXT record `{wanted}`.")


def unanswered(domain: str) -> CheckedRecord:
    """The record when DNS does not answer; the earlier verdict stays."""
    detail = "no name server answers"
    return CheckedRecord("Owner", owner_name(domain), RecordState.MISSING, detail, "Mend the domain's name servers.")


def is_verified(records: Sequence[CheckedRecord]) -> bool:
    """Whether the shop may send from the domain: it names the shop, and has a key that the provider signs with.

    Without the key, mailboxes would see mail of one domain signed by another, which DMARC (RFC 7489) refuses.
    """
    usable = {each.kind for each in records if each.state in {RecordState.OK, RecordState.WEAK}}
    return {"Owner", "DKIM"} <= usable


def is_domain(text: str) -> bool:
    """Whether the text can be a domain of mail, in lower case and ASCII."""
    return len(text) <= 253 and _HOST.fullmatch(text) is not None  # noqa: PLR2004  RFC 1035, section 2.3.4


def is_selector(text: str) -> bool:
    """Whether the text can be a DKIM selector."""
    return _SELECTOR.fullmatch(text) is not None


def find_spf(texts: Sequence[str]) -> list[str]:
    """The SPF records among the TXT records of a domain."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def spf_terms(record: str) -> SpfTerms:
    """The terms of an SPF record for which a receiver asks DNS."""
    found = [match for term in record.split()[1:] if (match := _LOOKUP.fullmatch(term))]
    included = [match["domain"].lower().rstrip(".") for match in found if match["nested"]]
    return SpfTerms(len(found), [name for name in included if _NAME.fullmatch(name)])


def check_spf(  # noqa: PLR0911  a list of cases
    domain: str, texts: Sequence[str], lookups: int, include: str | None
) -> CheckedRecord:
    """Check the SPF record.

    Args:
        domain: The domain of the return path.
        texts: Its TXT records.
        lookups: How often a receiver asks DNS for it, included records counted.
        include: What it must include; None if that is not known.
    """
    records = find_spf(texts)
    wanted = f"v=spf1 {f'include:{include}' if include else 'ip4:<address of the mail server>'} -all"

    def result(state: RecordState, detail: str, remedy: str = "") -> CheckedRecord:
        return CheckedRecord("SPF", domain, state, detail, remedy)

    if not records:
        return result(RecordState.MISSING, "no TXT record begins with v=spf1", f"Add the TXT record `{wanted}`.")
    if len(records) > 1:
        return result(RecordState.WRONG, f"{len(records)} SPF records", "Merge them into one: RFC 7208, section 3.2.")
    terms = records[0].split()[1:]
    if include and f"include:{include}" not in {term.lower().lstrip("+") for term in terms}:
        return result(RecordState.WRONG, f"it does not include {include}", f"Add `include:{include}`.")
    if lookups > MAX_SPF_LOOKUPS:
        remedy = "Remove includes, or replace them by addresses."
        return result(RecordState.WRONG, f"{lookups} DNS lookups, of at most {MAX_SPF_LOOKUPS}", remedy)
    endings = [match[1] or "+" for term in terms if (match := _ALL.fullmatch(term))]
    if "+" in endings:
        return result(RecordState.WRONG, "it permits every sender", "End it with `-all` or `~all`.")
    if endings and endings[-1] in {"-", "~"}:
        return result(RecordState.OK, f"ends with {endings[-1]}all, {lookups} DNS lookups")
    if any(term.lower().startswith("redirect=") for term in terms):
        return result(RecordState.OK, f"redirects, {lookups} DNS lookups")
    return result(RecordState.WEAK, "it refuses no sender", "End it with `-all` or `~all`.")


def check_dkim(name: str, texts: Sequence[str]) -> CheckedRecord:  # noqa: PLR0911  a list of cases
    """Check the DKIM key with this name, such as `s1._domainkey.example.com`."""

    def result(state: RecordState, detail: str, remedy: str = "") -> CheckedRecord:
        return CheckedRecord("DKIM", name, state, detail, remedy)

    keys = [tags for text in texts if "p" in (tags := _tags(text)) and tags.get("v", "DKIM1") == "DKIM1"]
    if not keys:
        return result(RecordState.MISSING, "no key", "Add the record that the mail provider shows for this selector.")
    tags = keys[0]
    try:
        key = base64.b64decode("".join(tags["p"].split()), validate=True)
    except ValueError:  # also for what is not ASCII
        return result(RecordState.WRONG, "the key is not base64", "Copy the record from the mail provider again.")
    if not key:
        return result(RecordState.WRONG, "the key was revoked", "Add the selector that the provider signs with now.")
    if tags.get("k", "rsa") != "rsa":
        return result(RecordState.OK, f"a key of {tags['k']}")
    if len(key) < _RSA_1024_BYTES:
        return result(RecordState.WRONG, "an RSA key under 1,024 bits", "Create a key of 2,048 bits.")
    if len(key) < _RSA_2048_BYTES:
        return result(RecordState.WEAK, "an RSA key under 2,048 bits", "Create a key of 2,048 bits.")
    return result(RecordState.OK, "an RSA key of 2,048 bits or more")


def dmarc_names(domain: str) -> list[str]:
    """Where a receiver looks for the policy: at the domain, then at its parents, but for the top level."""
    labels = domain.split(".")
    return [f"_dmarc.{'.'.join(labels[start:])}" for start in range(len(labels) - 1)]


def check_dmarc(name: str, texts: Sequence[str], *, of_parent: bool = False) -> CheckedRecord:
    """Check the DMARC policy at this name, which is the first of `dmarc_names` with one, or the first of all.

    That of a parent may have another policy for its subdomains.
    """

    def result(state: RecordState, detail: str, remedy: str = "") -> CheckedRecord:
        return CheckedRecord("DMARC", name, state, detail, remedy)

    records = find_dmarc(texts)
    if not records:
        remedy = "Add the TXT record `v=DMARC1; p=none; rua=mailto:<address for reports>`, later with `p=quarantine`."
        return result(RecordState.MISSING, "no TXT record begins with v=DMARC1", remedy)
    if len(records) > 1:
        return result(RecordState.WRONG, f"{len(records)} DMARC records", "Keep one: receivers ignore all of several.")
    tags = _tags(records[0])
    policy = ((tags.get("sp") if of_parent else None) or tags.get("p", "")).lower()
    if policy not in {"none", "quarantine", "reject"}:
        return result(RecordState.WRONG, "it has no policy", "Add `p=quarantine`.")
    if policy == "none":
        remedy = "Read its reports for some weeks, then set `p=quarantine`."
        return result(RecordState.WEAK, "the policy is none: forged mail is delivered", remedy)
    return result(RecordState.OK, f"the policy is {policy}")


def find_dmarc(texts: Sequence[str]) -> list[str]:
    """The DMARC records among the TXT records of a name."""
    return [text for text in texts if re.match(r"v\s*=\s*DMARC1\s*(?:;|$)", text)]


def _tags(text: str) -> dict[str, str]:
    """The tags of a record such as `v=DKIM1; k=rsa; p=…` (RFC 6376, section 3.2)."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}
