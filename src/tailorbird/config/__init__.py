"""The settings of a run."""

from tailorbird.config.load import dump_config, load_config
from tailorbird.config.method import METHODS
from tailorbird.config.schema import Config, check_method, for_arm

__all__ = ["METHODS", "Config", "check_method", "dump_config", "for_arm", "load_config"]
