"""Faults of a setting's URL are said in one line, without the password."""

import pytest

from tests.support.settings_environment import COMPLETE
from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings, load

POSTGRESQL = "postgresql://user:password@host:5432/wishcraft"
REDIS = "redis://localhost:6379/0, rediss://… or unix:///path/of/socket"
MAIL = (
    "smtp://user:password@host:587?starttls, smtps://…, ses://KEY:SECRET@eu-central-1?configuration_set=NAME or "
    "sendgrid://KEY@api.sendgrid.com"
)
PORT = "its port is not a number from 1 to 65,535"
HOST = "its host has a space or another character that no host can have"
NOT_ENCODED = "a character of its user, password or options is not percent-encoded"
HALF_A_LOGIN = "it has a user without a password, or a password without a user"
PLACES = "its hosts and ports do not look like host=a,b&port=1,2 or host=a:1&host=b:2 among its options"
SOCKET = "its host is percent-encoded: the folder of a socket goes into the option host"
NO_KEY = "its key has a space, a control character or one that is not ASCII"
FAULTS = [
    ("DATABASE_URL", POSTGRESQL, [
        ("mysql://u:hush@db/w", "it does not begin so"), ("nonsense", "it does not begin so"),
        ("postgresql://u:hush@db:port/w", PORT), ("postgresql://u:hush@db:0/w", PORT),
        ("postgresql://u:hush@db:65536/w", PORT), ("postgresql://u:hu@sh@db/w", NOT_ENCODED),
        ("postgresql://u:hu@s?h=x@db/w", NOT_ENCODED), ("postgresql://u:hush@db/w ", NOT_ENCODED),
        ("postgresql://u:hush@db/w?bad=1", "the option bad is unknown"),
        ("postgresql://u:hush@db/w?sslsni=2", "the option sslsni is not one of 0, 1"),
        ("postgresql://u:hush@db/w?sslmode=full",
         "the option sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("postgresql://u:hush@db:/w", PORT),
        ("postgresql://u:hush@db/w?sslmode=require&sslmode=allow", "the option sslmode is repeated"),
        ("postgresql://u:hush@db/w?port=hush", "the option port is not one port, or several with commas between them"),
        ("postgresql://u:hush@db/w?connect_timeout=x", "the option connect_timeout is not a whole number"),
        ("postgresql://u:hush@db/w?(hush)", "an option is unknown"),
        ("postgresql://db/w?user=u&password=hu&sh", "an option is unknown"),
        ("postgresql://db/w?user=u&password=hu%sh", NOT_ENCODED),
        ("postgresql://u:hush@a:5432,b:5433/w", PLACES), ("postgresql://u:hush@/w?host=a:1,b:2", PLACES),
        ("postgresql://u:hush@/w?host=a,b&port=1,2,3", PLACES), ("postgresql://u:hush@/w?host=a,b&port=1", PLACES),
        ("postgresql://u:hush@/w?host=a:1&host=b:hush", PLACES), ("postgresql://u:hush@/w?host=a:1&port=2", PLACES),
        ("postgresql://u:hush@db/w?port=0", PLACES), ("postgresql://u:hush@db/w?port=65536", PLACES),
        ("postgresql://u:hush@/w?host=a&host=::1", PLACES), ("postgresql://u:hush@%2Frun%2Fpg/w", SOCKET),
        ("postgresql://u:hush%00@db/w?sslmode=require", "it has a null character"),
        ("postgresql://u:hush@d b/w", HOST), ("postgresql://u:hush@db\n/w", HOST), ("postgresql://u:hush@<db>/w", HOST),
        ("postgresql://u:hush@[d b]/w", HOST), ("postgresql://u:hush@/w?host=a,b%20c", HOST),
        ("postgresql://u:hush@/w?host=a+b:1", HOST), ("postgresql://u:hu sh@d@b/w", NOT_ENCODED),
        ("postgresql://u:hush@db:54 32/w", PORT),
    ]),
    ("REDIS_URL", REDIS, [
        ("localhost:6379", "it has no scheme"), ("http://h", "it does not begin so"),
        ("redis://h:hush/0", PORT), ("redis://h:0", PORT), ("redis://h:65536", PORT), ("redis://[h", NOT_ENCODED),
        ("redis://:hu/sh@h/0", NOT_ENCODED), ("redis://:hu?sh@h/0", NOT_ENCODED), ("redis://:hu#sh@h/0", NOT_ENCODED),
        ("redis://h/name", "its database is not a number"), ("redis://h/-1", "its database is not a number"),
        ("redis://h?db=x", "the option db is not a whole number"),
        ("redis://h/0?nonsense=1", "the option nonsense is unknown"), ("redis://h/0?hush", "an option is unknown"),
        ("redis://h/0?decode_responses=1", "the option decode_responses is unknown"),
        ("redis://h/0?ssl_cert_reqs=none", "the option ssl_cert_reqs is unknown"),
        ("rediss://h/0?ssl_cert_reqs=hush", "the option ssl_cert_reqs is not one of none, optional, required"),
        ("redis://h/0?socket_timeout=abc", "the option socket_timeout is not a number of seconds"),
        ("redis://h/0?socket_timeout=0", "the option socket_timeout is not a number of seconds"),
        ("redis://h/0?max_connections=0", "the option max_connections is not a whole number from 1"),
        ("redis://:hush@h h/0", HOST), ("redis://:hush@h\n:1/0", HOST), ("redis://:hush@h,i/0", HOST),
        ("rediss://:hush@h%20h", HOST), ("redis://:hush@{h}:1", HOST), ("redis://:hush@h:63 79", PORT),
        ("redis://:hu sh@h", NOT_ENCODED), ("redis://:hush@h/0?client_name=a b", NOT_ENCODED),
        ("unix://run/valkey.sock", "it names no absolute path"), ("unix://", "it names no absolute path"),
    ]),
    ("MAIL_URL", MAIL, [
        ("mail.example", "it has no scheme"), ("http://u:hush@mail", "it does not begin so"),
        ("smtp://u:hush@", "it names no host"), ("smtp://u:hush@h:port", PORT), ("smtp://u:hush@h:0", PORT),
        ("smtp://u:hu/sh@h", NOT_ENCODED), ("smtp://user@h", HALF_A_LOGIN), ("smtp://:hush@h", HALF_A_LOGIN),
        ("smtp://h/path", "it has a path"), ("smtp://h?tls=1", "it has another option than starttls"),
        ("ses://AKIA:hush@frankfurt", "its host is not a region of AWS"), ("ses://AKIA@eu-central-1", HALF_A_LOGIN),
        ("ses://A%0A:hush@eu-central-1", NO_KEY), ("ses://AKIA:hush@eu-central-1:25", "it has a port"),
        ("ses://AKIA:hush@eu-central-1?set=x", "the option set is unknown"),
        ("ses://AKIA:hush@eu-central-1?configuration_set=a!",
         "the option configuration_set is not the name of a configuration set"),
        ("ses://AKIA:hush@eu-central-1?endpoint=ftp://x",
         "the option endpoint is not a URL such as https://host.example"),
        ("smtp://u:hush@mail example", HOST), ("smtp://u:hush@<h>:25", HOST), ("ses://AKIA:hush@eu central-1", HOST),
        ("sendgrid://hush@api sendgrid", HOST),
        ("ses://AKIA:hush@eu-central-1?endpoint=http://a%20b",
         "the option endpoint is not a URL such as https://host.example"),
        ("sendgrid://", "it has no key"), ("sendgrid://hush:hush@", "it has two keys"),
        ("sendgrid://h%C3%BCsh@", NO_KEY),
        ("sendgrid://hush@/mail", "it has a path, or a / that is not percent-encoded"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "example", "url", "fault"),
    [
        *((name, example, url, fault) for name, example, faults in FAULTS for url, fault in faults),
        *(("DATABASE_REPLICA_URL", POSTGRESQL, url, fault) for url, fault in FAULTS[0][2]),
    ],
)
def test_fault_of_a_url_is_named_with_its_setting_and_an_example(name: str, example: str, url: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(Settings, COMPLETE | {name: url})
    assert str(raised.value) == f"{name}: must look like {example}, but {fault}"


def test_no_url_of_the_faults_says_its_password() -> None:
    for name, _, faults in FAULTS:
        for url, _fault in faults:
            with pytest.raises(ConfigurationError) as raised:
                load(Settings, COMPLETE | {name: url})
            assert not {"hush", "hu", "s", "sh"} & set(str(raised.value).replace("/", " ").split())
