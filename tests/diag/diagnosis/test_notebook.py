"""What a notebook shows of a diagnosis."""

import pytest

from diag.diagnosis import Diagnosis, Evidence, Finding
from tests.diag.page import Page

HOSTILE = "<script>alert(1)</script>"
EVIDENCE = Evidence(HOSTILE, 1.0, HOSTILE, 1, None, f"measured {HOSTILE}")
FINDING = Finding("dead_units", "fault", HOSTILE, 60, EVIDENCE, f"why {HOSTILE}", f"fix {HOSTILE}", 1.0)


def test_it_is_well_formed_and_hostile_text_stays_text():
    html = Diagnosis("fault", (FINDING, FINDING), {HOSTILE: HOSTILE})._repr_html_()
    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert f"fault: dead_units , layer {HOSTILE}, since step 60" in page.text
    assert f"measured {HOSTILE}why {HOSTILE}What to do: fix {HOSTILE}" in page.text.replace("> ", ">")
    assert f"Not assessed: {HOSTILE}: {HOSTILE}" in page.text


@pytest.mark.parametrize("status", ["healthy", "warning", "fault", "not_assessable"])
def test_every_status_has_its_word(status):
    assert Page(Diagnosis(status, (), {})._repr_html_()).text == status.replace("_", " ")
