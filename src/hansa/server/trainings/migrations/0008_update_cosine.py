from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trainings", "0007_round_summaries")]

    operations = [migrations.AddField("update", "cosine", models.FloatField(blank=True, null=True))]
