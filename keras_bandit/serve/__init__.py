"""A web page on one's own machine: a film in, stems to hear, see and download."""
