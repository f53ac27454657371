"""What a build is told of pip's configuration on this machine."""

from configparser import RawConfigParser
from pathlib import Path

from tests.image.pip_settings import as_file, build_options, knows_packages, parse, places


def test_variables_win_over_files() -> None:
    listing = ":env:.cert='/a'\nglobal.cert='/b'\nglobal.timeout='5'\ninstall.pre='yes'\n"
    assert parse(listing) == {
        ("global", "cert"): "/a",
        ("global", "timeout"): "5",
        ("install", "pre"): "yes",
    }


def test_a_configuration_is_written_as_pip_reads_it() -> None:
    found = {("global", "find-links"): "/one\n/two", ("install", "no-index"): "true"}
    read = RawConfigParser()
    read.read_string(as_file(found))
    assert read["global"]["find-links"].split() == ["/one", "/two"]
    assert read["install"]["no-index"] == "true"


def test_places_are_what_is_there(tmp_path: Path) -> None:
    index = tmp_path / "an index" / "simple"
    index.mkdir(parents=True)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    told = f"{index.as_uri()}\nhttps://example.org/simple {tmp_path / 'missing'}"
    assert places([told, str(wheels), "180", "relative/path"]) == [index.parent, wheels]


def test_only_places_of_its_own_replace_the_index_for_torch() -> None:
    assert knows_packages({("global", "find-links"): "/wheels"})
    assert not knows_packages({("global", "timeout"): "180"})


def test_a_build_sees_the_configuration(tmp_path: Path) -> None:
    options = build_options(tmp_path)
    assert options[:2] == ["--volume", f"{tmp_path / 'pip.conf'}:/etc/pip.conf:ro"]
    assert set(options[::2]) <= {"--volume", "--build-arg"}
