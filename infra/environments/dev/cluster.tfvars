channel = "RAPID"
