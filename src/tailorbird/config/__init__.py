"""What was asked."""

from tailorbird.config.load import dump_config, load_config
from tailorbird.config.schema import ARMS, METHODS, Config, check_method, for_arm

__all__ = ["ARMS", "METHODS", "Config", "check_method", "dump_config", "for_arm", "load_config"]
