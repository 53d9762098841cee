"""Pages in the browser: who may see them, how pictures get there, and what is on them."""
