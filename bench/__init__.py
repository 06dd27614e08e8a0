"""Measurements of the laboratory against what it is built on, as ratios taken in one run: ``./launch.sh bench``."""
