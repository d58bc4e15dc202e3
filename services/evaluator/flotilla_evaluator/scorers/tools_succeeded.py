"""How many of the tool calls did what they were asked for."""

from __future__ import annotations

from flotilla_evaluator.model import Observation, Score


class ToolsSucceeded:
    """Gives the share of tool calls that succeeded, and 1 where none was made."""

    key = "tools_succeeded"

    def score(self, observation: Observation) -> Score:
        """Compares the failed calls with all results."""
        failed = max(observation.failed_tool_calls, 0)
        calls = max(len(observation.tool_results), failed)
        if calls == 0:
            return Score(self.key, 1.0, "No tool was called.")
        return Score(self.key, (calls - failed) / calls, f"{calls - failed} of {calls} tool calls succeeded.")
