"""Detection (section 4.3 and appendices A and B): boxes around the objects of an image, and what each is."""
