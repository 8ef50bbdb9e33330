"""Real reports keep to the schema that is shipped with them, and the schema refuses what is none."""

import json
import math
from dataclasses import replace

import pytest

from diag.diagnosis import diagnose
from diag.events import Model
from diag.log import Log, LogWriter
from diag.reporting import report_schema, to_json

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validator():
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_report_with_findings(validator, log, diagnosis):
    validator.validate(json.loads(to_json(log, diagnosis)))


def test_a_report_of_what_the_rules_themselves_say(validator, log):
    validator.validate(json.loads(to_json(log, diagnose(log))))


def test_a_report_of_an_empty_log(validator, tmp_path):
    LogWriter(tmp_path, describe=Model).close()
    log = Log(tmp_path)
    validator.validate(json.loads(to_json(log, diagnose(log))))


def test_a_report_of_a_run_that_is_still_written(validator, unclosed):
    validator.validate(json.loads(to_json(unclosed, diagnose(unclosed))))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_diagnosis_by_itself_whatever_its_numbers(validator, diagnosis, value):
    first = diagnosis.findings[0]
    odd = replace(first, evidence=replace(first.evidence, value=value), layer=None, onset_step=None)
    plain = json.dumps(replace(diagnosis, findings=(odd,)).to_json(), allow_nan=False)
    part = {"$ref": "#/$defs/diagnosis", "$defs": report_schema()["$defs"]}
    validator.evolve(schema=part).validate(json.loads(plain))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: report.pop("verdict"),
        lambda report: report.update(extra=1),
        lambda report: report["run"].update(state="asleep"),
        lambda report: report["diagnosis"]["findings"][0].update(severity="terrible"),
        lambda report: report["layers"][0]["last"].update(gradient_norm="1"),
        lambda report: report.update(schema=2),
    ],
    ids=["a key short", "a key more", "state", "severity", "a number as text", "version"],
)
def test_what_is_no_report_is_refused(validator, log, diagnosis, spoil):
    report = json.loads(to_json(log, diagnosis))
    spoil(report)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(report)


def test_every_key_that_may_be_there_is_described(validator):
    """A key without a type or a reference would let anything pass."""

    def check(schema):
        for key, part in schema.get("properties", {}).items():
            assert part.keys() & {"type", "$ref", "enum", "const", "anyOf"}, key
            check(part)

    schema = report_schema()
    for part in (schema, *schema["$defs"].values()):
        check(part)
