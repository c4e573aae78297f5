"""The lab: time, network, faults and the trace. It knows no protocol and no pattern."""
