import pytest
from sample import sample_report

from tailorbird.records import Report
from tailorbird.report.comparison_page import render_page


@pytest.fixture(scope="session")
def report() -> Report:
    return sample_report(seeds=3)


@pytest.fixture(scope="session")
def troubled() -> Report:
    """Two of nine arms did not finish."""
    return sample_report(failed=True)


@pytest.fixture(scope="session")
def page(report: Report) -> str:
    return render_page(report)
