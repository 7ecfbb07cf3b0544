"""Running a suite: from the plan of its questions to a stored run."""
