"""From raw daily files to model-ready stores, and from stores to training windows."""
