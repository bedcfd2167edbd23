"""Facts about each metric: its name, direction and scale."""

LABELS = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "weighted_f1": "Weighted F1",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "log_loss": "Log loss",
    "ece": "Calibration error",
    "brier": "Brier score",
    "rmse": "RMSE",
    "mae": "Mean absolute error",
    "r2": "R²",
    "exact_match": "Exact match",
    "numeric_match": "Numeric match",
    "choice_accuracy": "Choice accuracy",
    "token_f1": "Token F1",
    "rouge_l": "ROUGE-L",
    "loss": "Loss",
    "perplexity": "Perplexity",
    "top_3_accuracy": "Top-3 accuracy",
    "entity_f1": "Entity F1",
    "entity_precision": "Entity precision",
    "entity_recall": "Entity recall",
    "word_accuracy": "Word accuracy",
    "mean_average_precision": "Mean average precision",
    "hamming": "Hamming loss",
    "exact_sets": "Exact sets",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "mse": "Mean squared error",
    "answer_match": "Right answers",
    "gold_recall": "Words of the right answer",
    "net": "Right minus wrong",
    "k_precision": "Words from the passages",
    "supported": "Sentences that the passages hold",
}
_CAPITALS = {
    "token_f1": "token F1",
    "rouge_l": "ROUGE-L",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "weighted_f1": "weighted F1",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "auroc": "AUROC",
    "rmse": "RMSE",
    "r2": "R²",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "hamming": "Hamming loss",
    "entity_f1": "entity F1",
}
LOWER_IS_BETTER = frozenset(
    {"log_loss", "ece", "brier", "rmse", "mae", "mse", "loss", "perplexity", "cer", "wer"}
    | {"hamming"}
)
SHARES = frozenset(
    {"accuracy", "balanced_accuracy", "exact_match", "numeric_match", "ece", "coverage"}
    | {"hamming", "exact_sets", "answer_match", "gold_recall", "wrong", "abstained", "net"}
    | {"sufficient", "lacking", "k_precision", "supported"}
)
_AT_MOST_ONE = frozenset(
    {"token_f1", "rouge_l", "f1", "macro_f1", "micro_f1", "weighted_f1", "mcc", "auroc", "r2"}
    | {"pearson", "spearman", "mean_average_precision"}
    | {"entity_f1", "entity_precision", "entity_recall"}
)
CORRELATIONS = frozenset({"mcc", "pearson", "spearman"})
"""Scores from -1 to 1."""
# Shares of correct answers, with their wording; other shares are named.
_WHAT_IS_RIGHT = {
    "accuracy": "right",
    "choice_accuracy": "right",
    "exact_match": "exact matches",
    "numeric_match": "right numbers",
    "answer_match": "right",
}


def metric_label(name: str) -> str:
    """Return a metric's name for a heading."""
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def metric_words(name: str) -> str:
    """Return a metric's name for the middle of a sentence."""
    return _CAPITALS.get(name) or metric_label(name).lower()


def what_is_right(name: str) -> str:
    """Return what a metric is the share of (``62 % right``); empty for other metrics."""
    return _WHAT_IS_RIGHT.get(name, "")


def is_share(name: str) -> bool:
    """Return whether a metric is a share of examples, written in percent."""
    return name in SHARES or name.endswith("_accuracy")


def is_at_most_one(name: str) -> bool:
    """Return whether a metric's maximum is 1, so that differences have a scale."""
    return is_share(name) or name in _AT_MOST_ONE


def sign(name: str) -> int:
    """Return 1 if higher is better, -1 if lower is."""
    return -1 if name in LOWER_IS_BETTER else 1


def unit(name: str, best: float) -> float:
    """Return the metric's scale.

    It is 1 for a score with maximum 1. For a loss, a perplexity or a user's metric the scale is
    unknown, and the best observed score replaces it.
    """
    return 1.0 if is_at_most_one(name) else abs(best)
