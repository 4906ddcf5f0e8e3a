"""The sentences that varsim says about variables: errors, warnings, and what `explain` prints."""
