"""Dead letters as people work with them: found, shown, sent again, discarded. Behind `streamapp dlq`."""
