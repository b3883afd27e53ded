"""What models are taught and asked: people, documents, privacy pairs, deletion requests and general questions."""
