"""Event-triggered exchanges: a replica exchanges only after its component has drifted."""

from varsim_event_triggered.policy import EventTriggered as EventTriggered
