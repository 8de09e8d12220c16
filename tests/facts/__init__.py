"""`make facts`: every fact that vmlan must reproduce, played on its examples, with evidence."""
