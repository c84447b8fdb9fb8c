"""The service does what its OpenAPI description says, whatever it is sent."""

import tempfile
from pathlib import Path

import pytest
import schemathesis
from conftest import encode
from hypothesis import HealthCheck, settings, strategies
from loopback import PATIENCE_S, running
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from skinai.data.drawing import draw_lesion
from skinai.service.app import Service, build_service
from skinai.service.keys import Keys, add_key
from skinai.service.schema import ANSWERS_EXAMPLE, MODELS_EXAMPLE, Answers, Models
from skinai.serving.assessment import Assessor
from skinai.serving.routing import Desk


def describe(keys=None):
    service = Service(workers=1, capacity=16, keys=keys)
    service.jobs.close()
    return build_service(service).openapi()


def describe_with_keys():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keys.json")
        add_key(file, "tests")
        return describe(Keys(file))


# Of a request whose deadline was drawn too short, and that was not read to its end, nobody knows whether it was right.
UNREAD = [not_a_server_error, positive_data_acceptance, negative_data_rejection]
# Among the files that are made up are some that are pictures.
FILES = strategies.sampled_from([encode(draw_lesion(1)), encode(draw_lesion(2), "PNG"), b"\xff\xd8\xff", b""])
schemathesis.openapi.format("binary", FILES)
DESCRIPTION = describe()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
SCHEMA_WITH_KEYS = schemathesis.openapi.from_dict(describe_with_keys())
for one in (SCHEMA, SCHEMA_WITH_KEYS):
    one.config.update(request_timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def desk(gated_model):
    return Desk.join(Assessor.load(gated_model, threads=1), None)


@pytest.fixture(scope="module")
def address(desk):
    service = Service(workers=1, capacity=64)
    service.open(desk)
    with running(service) as address:
        yield address


@pytest.fixture(scope="module")
def closed(desk, tmp_path_factory):
    """The address of a service with keys and a rate that nobody reaches, and one of its keys."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    key = add_key(file, "tests")
    service = Service(workers=1, capacity=64, keys=Keys(file), pictures_per_minute=1_000_000)
    service.open(desk)
    with running(service) as address:
        yield address, key


@SCHEMA.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_description_names(case, address):
    response = case.call(base_url=address)
    late = response.status_code in (408, 504)
    case.validate_response(response, excluded_checks=UNREAD if late else None)


@SCHEMA_WITH_KEYS.parametrize()
@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_with_keys_every_answer_is_one_that_the_description_names(case, closed):
    """Among the checks is one that leaves the key out, and one that makes it up; neither may be answered."""
    address, key = closed
    response = case.call(base_url=address, headers={"Authorization": f"Bearer {key}"})
    late = response.status_code in (408, 504)
    case.validate_response(
        response,
        headers={"Authorization": f"Bearer {key}"},
        excluded_checks=UNREAD if late else None,
    )


def test_the_examples_fit_their_own_description():
    Answers.model_validate(ANSWERS_EXAMPLE)
    Models.model_validate(MODELS_EXAMPLE)


def test_every_answer_has_an_example_and_a_sentence():
    predict = DESCRIPTION["paths"]["/v1/predict"]["post"]
    assert set(predict["responses"]) == {"200", "401", "404", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert set(DESCRIPTION["paths"]) == {"/v1/predict", "/v1/model", "/healthz", "/readyz", "/metrics"}
    for operations in DESCRIPTION["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                assert answer["description"]
                assert "text/plain" in answer["content"] or "example" in answer["content"]["application/json"]
