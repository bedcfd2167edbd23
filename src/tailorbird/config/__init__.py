"""What was asked."""

from tailorbird.config.load import dump_config, load_config
from tailorbird.config.schema import ARMS, METHODS, Config, for_arm

__all__ = ["ARMS", "METHODS", "Config", "dump_config", "for_arm", "load_config"]
