"""What people look at: the HTML report, its figures and its words."""
