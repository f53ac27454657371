"""Studies and searches as JSON text."""

import json

from onnxprune.encoding import encode
from onnxprune.points import Study
from onnxprune.report.as_json import check_to_dict, to_dict
from onnxprune.studies import study_to_dict
from onnxprune.types import Found


def study_to_json(study: Study) -> str:
    """Return a study as JSON text, in ASCII."""
    return json.dumps(study_to_dict(study), indent=2, allow_nan=False)


def found_to_json(found: Found) -> str:
    """Return a search and the report on its model; as a study it can be read back, too."""
    search, report = found.search, found.report
    values = study_to_dict(search.study) | {
        name: encode(getattr(search, name))
        for name in ("over", "budget", "settings", "accepted", "chosen", "sentences")
    }
    values |= {"setting": search.setting, "check": check_to_dict(search.result)}
    return json.dumps(values | {"report": to_dict(report)}, indent=2, allow_nan=False)
