"""Nothing that can happen is without a case: the error table, the simulator's faults, the pains of others, by name."""

import inspect
from pathlib import Path
from typing import get_args

import pytest

from simulator.faults import AnyExchangeFault
from simulator.faults.catalogue import CODES
from simulator.webhooks.faults import AnyWebhookFault
from tests.acceptance import test_refusals_to_start
from tests.cases import test_breakers, test_errors, test_faults, test_pains, test_webhook_faults
from tests.encryption import test_provider
from tests.rotation import test_reencrypt, test_token_rotation
from tests.web import test_linking, test_webhook_keys

GETS_OVER = test_faults.test_a_fault_that_a_sync_gets_over_by_itself
LASTS = test_faults.test_a_fault_that_lasts_fails_the_run_and_changes_nothing

# Every kind of fault that the simulator knows, and the case that meets it.
KINDS = {
    "body": LASTS,
    "churn": GETS_OVER,
    "cursor_outdated": GETS_OVER,
    "cut": GETS_OVER,
    "delay": GETS_OVER,
    "empty_page": GETS_OVER,
    "error": GETS_OVER,
    "evolve": GETS_OVER,
    "foreign_cursor": GETS_OVER,
    "hold": test_faults.test_an_answer_that_never_comes_ends_by_the_time_out,
    "html": GETS_OVER,
    "malformed_transaction": test_faults.test_one_malformed_transaction_waits_in_quarantine_until_it_is_told_well,
    "mutation": GETS_OVER,
    "null_cursor": LASTS,
    "patch": LASTS,
    "remove_item": test_faults.test_an_item_that_is_removed_between_two_pages_is_revoked_and_keeps_its_rows,
    "split": GETS_OVER,
    "sticky_mutation": GETS_OVER,
    "stuck": LASTS,
    "truncate": LASTS,
    "unknown_values": test_faults.test_unknown_fields_and_values_pass,
    "webhook_duplicate": test_webhook_faults.test_a_duplicate_is_answered_and_changes_nothing_more,
    "webhook_forged": test_webhook_faults.test_no_forgery_passes_and_the_true_one_beside_each_does,
    "webhook_hold": test_webhook_faults.test_one_that_never_comes_is_made_up_for_by_the_schedule,
    "webhook_late": test_webhook_faults.test_one_that_was_signed_too_long_ago_is_refused_until_it_is_signed_anew,
    "webhook_lost": test_webhook_faults.test_one_that_never_comes_is_made_up_for_by_the_schedule,
    "webhook_reorder": test_webhook_faults.test_two_that_come_in_another_order_end_as_the_bank_has_it,
}
# The fault modes that the protocol notes ask for (their section 9), in its words.
MODES = {
    "mutation mid-loop": GETS_OVER,
    "mutation, sticky": test_pains.test_4_the_cursor_is_stuck_on_a_mutation,
    "null next_cursor": test_faults.test_an_item_whose_history_is_not_ready_is_looked_at_again_soon,
    "cursor of another Item": test_pains.test_5_cursor_not_associated_with_access_token,
    "posted and removed split across pages": test_pains.test_2_pending_and_posted_are_both_shown,
    "has_more with empty arrays": GETS_OVER,
    "added instead of modified": (test_faults.test_what_changes_after_the_cursor_now_comes_as_added_and_is_an_update),
    "429 with and without Retry-After": test_errors.test_a_rate_limit_waits_as_long_as_it_was_told_and_not_for_ever,
    "500, 503, HTML body": LASTS,
    "slow first sync": GETS_OVER,
    "hang past the time-out": test_faults.test_an_answer_that_never_comes_ends_by_the_time_out,
    "duplicate webhooks": test_webhook_faults.test_a_duplicate_is_answered_and_changes_nothing_more,
    "reordered webhooks": test_webhook_faults.test_two_that_come_in_another_order_end_as_the_bank_has_it,
    "late webhooks": test_webhook_faults.test_one_that_was_signed_too_long_ago_is_refused_until_it_is_signed_anew,
    "forged webhooks": test_webhook_faults.test_no_forgery_passes_and_the_true_one_beside_each_does,
    "missed webhooks": test_webhook_faults.test_one_that_never_comes_is_made_up_for_by_the_schedule,
    "key rotation and expired key": (
        test_webhook_faults.test_a_key_that_is_new_is_asked_for_and_one_that_has_expired_is_refused
    ),
    "token rotation with a lost response": (
        test_token_rotation.test_a_lost_answer_is_told_from_a_refusal_and_the_item_needs_its_user
    ),
    "unknown fields and enums": test_faults.test_unknown_fields_and_values_pass,
    "one malformed transaction": (test_faults.test_one_malformed_transaction_waits_in_quarantine_until_it_is_told_well),
    "account churn": GETS_OVER,
    "Item removed mid-sync": (test_faults.test_an_item_that_is_removed_between_two_pages_is_revoked_and_keeps_its_rows),
    "institution down": test_breakers.test_three_failures_of_an_institution_park_it_and_one_success_lets_it_go,
}
PAINS = {
    "1. two syncs at once duplicate rows": test_pains.test_1_two_syncs_at_once_duplicate_rows,
    "2. pending and posted both shown": test_pains.test_2_pending_and_posted_are_both_shown,
    "3. removed rows stay": test_pains.test_3_removed_rows_stay,
    "4. cursor stuck on mutation": test_pains.test_4_the_cursor_is_stuck_on_a_mutation,
    "5. cursor not associated with access_token": test_pains.test_5_cursor_not_associated_with_access_token,
    "6. a missed webhook and no fallback": test_pains.test_6_a_missed_webhook_and_no_fallback,
    "7. re-auth done, status still broken": test_pains.test_7_reauthorised_and_the_status_is_still_broken,
    "8. syncs fail silently for weeks": test_pains.test_8_syncs_fail_silently_for_weeks,
    "9. syncing for ever after a worker restart": test_pains.test_9_syncing_for_ever_after_a_worker_restart,
    "10. rate limits": test_pains.test_10_rate_limits,
    "11. re-linking makes a duplicate Item": test_linking.test_the_same_accounts_are_not_linked_twice,
    "12. a manual sync says success, the data is stale": (
        test_pains.test_12_a_manual_sync_says_success_and_the_data_are_stale
    ),
    "13. balances not updated": test_pains.test_13_balances_are_not_updated,
    "14. slow webhook keys": test_webhook_keys.test_one_slow_key_keeps_no_other_waiting,
    "15. encryption silently off": test_provider.test_encryption_switched_off_writes_marked_plain_text_and_is_loud,
    "15. no safe key change": test_reencrypt.test_killed_again_and_again_it_ends_with_nothing_under_the_old_key,
    "15. production without encryption": test_refusals_to_start.test_production_without_an_encryption_key,
}


def test_every_error_code_of_plaids_is_a_row_with_its_type_and_status():
    rows = {(error_type, http, code) for error_type, http, codes, _ in test_errors.ROWS for code in codes.split()}
    assert {(error_type, http, code) for code, (error_type, http) in CODES.items()} <= rows


def test_every_fault_of_the_simulator_has_a_case():
    known = {kind.__struct_config__.tag for kind in (*get_args(AnyExchangeFault), *get_args(AnyWebhookFault))}
    assert set(KINDS) == known


@pytest.mark.parametrize("kind", KINDS)
def test_the_case_sets_the_fault_that_it_is_named_for(kind):
    case = KINDS[kind]
    marks = [repr(mark.args) for mark in getattr(case, "pytestmark", [])]
    assert any(f"{quote}{kind}{quote}" in told for told in (inspect.getsource(case), *marks) for quote in "'\"")


@pytest.mark.parametrize("case", [*MODES.values(), *PAINS.values()])
def test_what_is_listed_is_a_test_that_runs(case):
    assert case.__name__.startswith("test_")
    assert Path(inspect.getfile(case)).name.startswith("test_")
    assert not [mark.name for mark in getattr(case, "pytestmark", []) if mark.name in {"skip", "skipif", "xfail"}]


def test_all_fifteen_pains_are_listed():
    assert {int(name.partition(".")[0]) for name in PAINS} == set(range(1, 16))
