"""From a plan of questions to a stored run."""
