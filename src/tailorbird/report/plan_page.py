"""The page of a plan: what fits, how long it takes, and what more labels would buy."""

from tailorbird.records.planning import Plan
from tailorbird.report.learning_curve import curve_view
from tailorbird.report.page_template import fill
from tailorbird.report.plan import grids, summary


def render_plan(plan: Plan) -> str:
    """Return the plan as one HTML document that needs no network."""
    return fill(
        "plan.html.j2",
        plan=plan,
        summary=summary(plan),
        heading=_heading(plan),
        grids=grids(plan),
        learning=curve_view(plan.curve),
    )


def _heading(plan: Plan) -> str:
    fits = [memory.method for memory, fit in zip(plan.memory, plan.fits, strict=False) if fit.fits]
    if len(fits) == len(plan.memory):
        return "Every method fits" if len(fits) > 1 else f"{fits[0]} fits"
    changed = [f.method for f in plan.fits[: len(plan.memory)] if f.changed_bytes is not None]
    if not fits:
        return "Nothing fits as it is" if changed else "Nothing fits"
    return f"{', '.join(fits)} fit{'s' if len(fits) == 1 else ''}"
