"""Lists the words and functions that every template may use, by their names in templates; pure."""

from collections.abc import Mapping
from typing import Final

from services.assembler.status.pages.wording import check, formatting, operators, queue, rows, uploads

TEMPLATE_WORDS: Final[Mapping[str, object]] = {
    "tone": uploads.tone,
    "state_words": uploads.state_words,
    "percent": uploads.percent,
    "title_words": uploads.title_words,
    "announce_words": uploads.announce_words,
    "headline": uploads.headline,
    "took_words": uploads.took_words,
    "progress_words": uploads.progress_words,
    "outcome_words": uploads.outcome_words,
    "stages": uploads.stages,
    "page_of": uploads.page_of,
    "row_words": rows.row_words,
    "row_tone": rows.row_tone,
    "verdict_words": rows.VERDICTS,
    "row_state_words": rows.ROW_STATES,
    "line_type_words": rows.LINE_TYPES,
    "problem_words": rows.PROBLEMS,
    "brief_problem_words": rows.PROBLEMS_IN_BRIEF,
    "queue_words": queue.queue_words,
    "queue_tone": queue.queue_tone,
    "gate_words": queue.gate_words,
    "reason_words": queue.reason_words,
    "detected_words": check.detected_words,
    "action_words": operators.ACTIONS,
    "bad_reason_words": operators.BAD_REASONS,
    "number": formatting.number,
    "plural": formatting.plural,
    "file_size": formatting.file_size,
    "size_limit": formatting.size_limit,
    "duration": formatting.duration,
    "money": formatting.money,
    "iso": formatting.iso,
}
