"""Data for training and questions: people, documents, privacy pairs, deletion requests and general questions."""
