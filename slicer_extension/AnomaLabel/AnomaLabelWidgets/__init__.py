"""The panel's window, tab by tab: each draws its part of the state and hands acts on to the presenter. Qt, no MRML."""
