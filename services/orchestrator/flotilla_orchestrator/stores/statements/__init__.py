"""The run path's SQL, one file a statement family: named constants and the arrays they take."""
