"""The report of a run: what each process counted, and the invariants that must hold between them.

The numbers are taken at a consistent cut: the sources are stopped, every VP is fenced, and no envelope crosses the cut.
Each check compares two numbers that different processes, or different layers of the guest, have counted on their own;
if one is wrong, the two differ and the line is red. A new invariant is a function in a module of this package, in
``INVARIANTS`` of ``lab.report.make``, with a line in ``lab.report.catalogue`` and a fault that turns it red.
"""

from lab.report.catalogue import CATALOGUE
from lab.report.check import Check
from lab.report.cut import Cut, consistent
from lab.report.make import make_report
from lab.report.report import Report

__all__ = ["CATALOGUE", "Check", "Cut", "Report", "consistent", "make_report"]
