"""What is assumed about the portal in three files says the same: its profile, the session's codes, the moves between states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapters.manifest import load
from connectors.auth.portal_session import profile as session_profile
from hub.kernel import filings

ROOT = Path(__file__).parents[3]
PORTAL: dict[str, Any] = load("public_service").profile()


def test_the_profile_names_the_other_two_and_their_versions() -> None:
    named = {one["file"]: one["version"] for one in PORTAL["includes"]}
    assert set(named) == {"connectors/auth/portal_session.yaml", "mappings/filing-states.yaml"}
    for file, version in named.items():
        assert str(yaml.safe_load((ROOT / file).read_text("utf-8"))["version"]) == version
    assert named["connectors/auth/portal_session.yaml"] == str(session_profile().version)
    assert named["mappings/filing-states.yaml"] == filings.table().version


def test_a_code_means_the_same_to_the_session_and_to_the_adapter() -> None:
    session, refusals = session_profile(), PORTAL["refusals"]
    assert session.success_codes == sorted(PORTAL["success"])
    ended = {code for code, rule in refusals.items() if rule["reason"] == "session_expired"}
    account = {code for code, rule in refusals.items() if rule.get("scope") == "connector"}
    # Beside the portal's own codes the session takes HTTP's, which the adapter reads from the status.
    assert ended == {code for code in session.expired_codes if code not in ("401", "403")}
    assert account == {code for code in session.refused_codes if code not in ("401", "403")}
    assert not set(PORTAL["already_exists"]["codes"]) & {*session.expired_codes, *session.refused_codes}


def test_the_portal_knows_the_states_the_hub_knows() -> None:
    assert set(PORTAL["transitions"]) == set(filings.table().states)
    assert PORTAL["cancel_status"] == filings.table().withdrawn
