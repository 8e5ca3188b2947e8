"""`streamapp verify`: what a user can check of an app from outside: transactions, lag, tables against changelogs, duplicates."""
